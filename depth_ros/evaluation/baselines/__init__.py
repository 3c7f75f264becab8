"""Simple predictors whose metrics are reported beside those of every model."""
