"""An analyst's admitted parse tree, read into a `StatisticsQuery` or refused by name."""
