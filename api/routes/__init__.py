"""What can be asked of the service; each route is schema, queue, library, schema."""
