"""Serve exported encoders over the Open Inference Protocol, with KServe's SDK."""

import sys

# kserve parses the words of the command line as its own when it is imported.
_words = sys.argv
sys.argv = _words[:1]
try:
    import kserve as kserve
except ImportError as error:
    raise ImportError(f"{error}; pip install 'rkdo-plugin[serve]'") from error
finally:
    sys.argv = _words
