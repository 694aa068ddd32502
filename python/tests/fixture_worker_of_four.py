"""The worker for tests, with a capacity of 4."""

from fixture_worker import worker

worker.capacity = 4

if __name__ == "__main__":
    worker.main()
