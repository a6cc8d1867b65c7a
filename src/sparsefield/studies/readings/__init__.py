"""One module a study, named after it: ``read(record)`` says what its record shows."""
