import ember

first = ember.App("first")
second = ember.App("second")
