"""Bounded numbers made into a release: noise, its price, its error bars and its certificate."""
