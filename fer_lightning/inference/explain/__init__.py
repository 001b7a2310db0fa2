"""Heat maps of where a network looked; one method a file, both behind `heat_maps.heat_maps`."""
