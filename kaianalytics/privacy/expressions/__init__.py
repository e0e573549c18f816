"""Expressions of one row: their types, ranges and operations, evaluated in Python and written as SQL."""
