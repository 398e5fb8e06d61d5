"""The same client against this server and against Pipecat with the same models."""
