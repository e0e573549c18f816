"""What SQL is admitted: DuckDB's own parse tree against explicit lists."""
