"""The parts of the report page: what each section shows, its templates, its style and its script."""
