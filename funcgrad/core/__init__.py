"""The ground: types, the IR, tracing and the back-end contract. It knows no operation."""
