print('[{"Name": "test_accuracy", "Regex": "test_accuracy=([0-9.]+)"}]')
