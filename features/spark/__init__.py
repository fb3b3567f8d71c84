"""Features on a Spark cluster: the tables of ``features.build``, made by many machines of files that all of them see."""
