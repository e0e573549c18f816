"""The attacks that ship with the product: what is tried against a wall, and what stopped it."""
