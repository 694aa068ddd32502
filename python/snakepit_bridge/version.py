"""The version of the SDK, and the default version of a worker."""

VERSION = "0.1.0"
