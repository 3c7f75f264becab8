"""The simplest predictors that have seen the data, reported beside every model."""
