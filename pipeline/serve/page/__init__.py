"""The files of the page: plain HTML, CSS and ES modules, served as they are."""
