"""The ground floor: files, sockets, processes, databases, words. Knows no jobs."""
