import os

# Lightly before 1.6 asks the network for its newest version at import.
os.environ["LIGHTLY_DID_VERSION_CHECK"] = "True"
