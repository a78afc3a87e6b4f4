"""From journals to tables, figures and a report of the bias that was found."""
