"""An hour without one server, in compressed time, at three kinds of pairs: what the clients were told."""
