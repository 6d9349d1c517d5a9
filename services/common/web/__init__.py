"""From a request to a function and back: routes, sign-in, errors, documents."""
