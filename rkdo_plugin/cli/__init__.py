"""The command line `rkdo`, one file for each group of commands."""
