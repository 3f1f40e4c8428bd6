Stores are asked about one mailbox name by `IAccount.about`, which a store of your own needs now; `session.list` of the control interface gives rows of values with their names once.
