"""The local web page: Gradio for what is seen, one route for programs, and a guard before both."""
