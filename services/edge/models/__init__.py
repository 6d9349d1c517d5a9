"""Models at the edge: keys, places, replicas, changed while requests run."""
