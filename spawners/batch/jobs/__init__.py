"""Jobs from the intent to the end: records, their store, what keeps them true."""
