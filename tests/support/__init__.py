"""Helpers of the tests: tiny data sets, spoiled files, stand-ins for slow parts."""
