from cvbundle.cli import main

main()
