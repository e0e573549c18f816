"""The processes that run SQL: started, asked, bounded and ended."""
