"""A load generator for websocket hubs: raw sockets, one thread, every byte of every receiver checked."""
