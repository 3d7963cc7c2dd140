//! Backup, restore and password change of a MySQL server, run in Jobs by mysql-operator.
