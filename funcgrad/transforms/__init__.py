"""The transformations on flat functions and on jaxprs: forward mode, batching, reverse mode, and control flow."""
