"""What is remembered: the audit chain, the ledger, releases, reviews, runs, stop requests and revoked tokens.

`database.Records` opens them; every other module is functions over a `Reading` or a `Transaction` of it.
"""
