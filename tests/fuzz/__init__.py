"""Statements, questions and bytes that nobody thought of: made by chance, and judged by an oracle that knows the truth.

world.py        a small real home, with canaries in everything that its purpose may not see
values.py       the grammar's expressions             statements.py   the grammar's SELECT statements
mutations.py    the corpora, changed                  questions.py    the grammar's statistical questions
plain.py        plain DuckDB on the permitted rows    comparing.py    two answers to one statement
oracle.py       refused or right; no canary           run.py          `make fuzz`, the long run
test_*.py       the short run, every decoder, and planted faults that the oracle must catch
"""
