"""The layouts of downloads: folders and CSV files, recognised and listed."""
