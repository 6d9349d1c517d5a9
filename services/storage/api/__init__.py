"""Storage over REST and its pages: each function is one route."""
