"""Access policies, which ask the app or its database who may join a project; and the sessions in that database."""
