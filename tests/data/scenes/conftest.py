import pytest


@pytest.fixture(scope="session")
def scenes_v1():
    from vitrail.data.scenes import suite

    return suite("scenes-v1")
