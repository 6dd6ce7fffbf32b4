"""Pages for people, by topic. `page` has their building blocks; `admin/render` picks one for a command."""
