"""Who comes in: the socket, connections, tokens, identities, requests read and refusals told."""
