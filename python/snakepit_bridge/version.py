"""The version of the SDK, and of the workers that name none of their own."""

VERSION = "0.1.0"
