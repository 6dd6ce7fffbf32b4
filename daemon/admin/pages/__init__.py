"""Pages for people, by what they are of. `page` is what they are made of; `admin/render` picks one for a command."""
