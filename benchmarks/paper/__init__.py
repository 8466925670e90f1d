"""The protocol of the paper on a machine that is lent for minutes: carry data, train, keep."""
