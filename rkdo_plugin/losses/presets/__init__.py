"""The rows of I-Con's table: each a p, a q and who is compared with whom.

`rkdo_plugin.plugins.builtin` gives each row its name.
"""
