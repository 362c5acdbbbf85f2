"""Pictures of runs, maps, clusters and fields."""
