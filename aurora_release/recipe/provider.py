"""Who releases a model, and what only they can say of its training content."""

from aurora_release.recipe.part import Part


class Provider(Part):
    """Who releases the model, and what no evidence can say. The release shows it; nothing is
    trained again where it changes. All but name and contact fill in `TRAINING-CONTENT.md`."""

    name: str | None = None
    """The person or organization that releases the model."""
    contact: str | None = None
    """Where they are reached."""
    version: str | None = None
    """Version of the summary of training content, and when it was last updated."""
    on_market: str | None = None
    """Date of placement on the Union market."""
    acquired: str | None = None
    """Latest date on which training data was acquired."""
    public: str | None = None
    """Which of the files are publicly available, and where."""
    licensed: str | None = None
    """Licence agreements with rightsholders."""
    third_parties: str | None = None
    """Private data sets from other third parties."""
    crawled: str | None = None
    """Whether the files were crawled or scraped, by whom, when and from where."""
    user_data: str | None = None
    """Whether the files hold data of users."""
    synthetic: str | None = None
    """Which models wrote synthetic data, and which texts hold it."""
    other: str | None = None
    """Other sources of data."""
    reservations: str | None = None
    """What was done to respect reservations from text and data mining."""
