"""From a data set to a store, and damaged cases of a store to rewrite: the parts of `prepare`."""
