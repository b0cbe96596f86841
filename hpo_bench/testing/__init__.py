"""Contract tests for plug-in authors: subclass `MethodContract` or `TaskContract`, supply one fixture, run pytest."""
