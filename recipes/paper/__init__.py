"""The experiment that RKDO was published with, and what its tables leave out."""
