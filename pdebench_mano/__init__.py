"""Neural operators on Darcy flow: train, evaluate across resolutions, compare."""
